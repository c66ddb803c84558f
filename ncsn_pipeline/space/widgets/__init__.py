"""What is shown, in every tab.

grid, pictures   images as one picture, as files
plots            figures as SVG in the page's colours
presets, seeds   settings worth looking at, a button each; the same run again, or another
programs         the Python of a run, to take along
"""
