"""Between the page and the world.

guard     failures and uploads: nobody sees a raw exception
poster    something to see while the page is on its way
sharing   settings in the page's address
"""
