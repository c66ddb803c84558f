"""How good a model's samples are: distances to the test images, in features made for such pictures or without any.

evaluate            samples from a model, measures, writes numbers and figures
quality             Frechet and kernel distance, recognised classes, nearest training images
choosing            which features suit a model's pictures
features            the networks in whose features images are compared
measures            what suits any pictures: `pyramid`, `two_sample`, `precision_recall`
held_out            the network's own loss on images that it has not seen
figure              what is drawn of it
classifier, train_classifier           a classifier of labelled pictures, and its training
"""
