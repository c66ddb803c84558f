"""How good a model's samples are: distances to the test images in the features of a classifier.

evaluate            samples from a model, measures, writes numbers and figures
quality             Frechet and kernel distance, recognised classes, nearest training images
features            the networks in whose features images are compared
figure              what is drawn of it
classifier, train_classifier           a classifier of labelled pictures, and its training
"""
