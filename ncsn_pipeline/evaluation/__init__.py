"""How good a model's samples are: distances to the test images in the features of a classifier.

evaluate            samples from a model, measures, writes numbers and figures
quality             Frechet and kernel distance, recognised classes, nearest training images
features            the networks in whose features images are compared
figure              what is drawn of it
digit_classifier, train_classifier     the classifier of digits, and its training
"""
