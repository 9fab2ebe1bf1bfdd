"""The eight tissues of Kather et al. 2016, in the order of their labels."""

TISSUES = ("tumor", "stroma", "complex", "lympho", "debris", "mucosa", "adipose", "empty")
