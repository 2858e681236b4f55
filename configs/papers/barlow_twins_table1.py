"""Barlow Twins, Table 1: linear top-1 on ImageNet-1k, ResNet-50, 1,000 epochs."""

AXES = dict(method=["barlow-twins"], data=["imagenet"])
ROWS, COLUMNS = ["method"], ["data"]
CONFIG = "{method}_resnet50_8xb256-lars-1000e_{data}"
EVALUATE = dict(protocols="linear-aug")
RECIPES = ("barlow-twins",)
SEEDS = range(1)
METRIC, UNIT = "acc", "%"
SOURCE = "Zbontar et al., Barlow Twins, 2021, Table 1"
PUBLISHED = "73.2"
