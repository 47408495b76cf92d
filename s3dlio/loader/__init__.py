"""Loaders: data sets of stored objects, read in the order of an epoch while a program works on what came before."""
