"""The process of `orlop-registry`: its command line, its life, and collections that are asked for from outside."""
