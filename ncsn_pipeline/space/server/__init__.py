"""Between the page and the world.

guard     failures and uploads: nobody sees a raw exception
sharing   settings in the page's address
"""
