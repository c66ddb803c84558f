"""A visitor's run, from its inputs to its last frame.

limits, budget   every input is checked on the server: numbers, counts, choices, and what a run costs
model, models    networks, loaded once
controls, calls  a control is one row; the call that the rows make, and the program that makes the same call
work, run        a thread that can be stopped, one at a time; a call of the pipeline in it
recording        what is kept of such a call
reading          what a classifier reads in its pictures
sessions         one run per visitor, which that visitor can stop
events           how events reach a browser, and how often: a slow one must keep up
messages         what is said of a run
"""
