"""Contender. The servers that mlserve is compared with, each as small as its users write it."""
