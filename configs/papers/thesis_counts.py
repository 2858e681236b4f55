"""Thesis, Tables B.2 to B.7: images of each class in each split, which ``tools/audit.py`` counts.

The counts of the classes are MedMNIST's; of the sums that the thesis prints below them, those of the tissue
cells (170,866, 24,440 and 48,880) and of the validation images of retinal OCT (10,732) are not theirs.
"""

CLASSES = dict(
    pathology=["adipose", "background", "debris", "lymphocytes", "mucus", "smooth muscle",
               "normal colon mucosa", "cancer-associated stroma", "colorectal adenocarcinoma epithelium"],
    dermatology=["actinic keratoses and intraepithelial carcinoma", "basal cell carcinoma",
                 "benign keratosis-like lesions", "dermatofibroma", "melanoma", "melanocytic nevi",
                 "vascular lesions"],
    blood=["basophil", "eosinophil", "erythroblast", "immature granulocytes", "lymphocyte", "monocyte",
           "neutrophil", "platelet"],
    retina=["A", "B", "C", "D", "E"],
    tissue=["Collecting Duct, Connecting Tubule", "Distal Convoluted Tubule", "Glomerular endothelial cells",
            "Interstitial endothelial cells", "Leukocytes", "Podocytes", "Proximal Tubule Segments",
            "Thick Ascending Limb"],
    oct=["Choroidal Neovascularization", "Diabetic Macular Edema", "Drusen", "Normal"],
)  # fmt: skip
AXES = dict(
    row=[f"{data}: {name}" for data, names in CLASSES.items() for name in names],
    split=["train", "val", "test"],
)
ROWS, COLUMNS = ["row"], ["split"]
CONFIG = ""
EVALUATE = {}
SEEDS = range(1)
METRIC, UNIT = "images", ""
SOURCE = "F. Jiang, Evaluating SimCLR for Medical Image Classification, 2023, Tables B.2 to B.7"


def cell(**at):
    """No network is evaluated."""
    return


PUBLISHED = """
    9366   1041  1338
    9509   1057  847
    10360  1152  339
    10401  1156  634
    8006   890   1035
    12182  1354  592
    7886   877   741
    9401   1045  421
    12885  1432  1233
    228    33    66
    359    52    103
    769    110   220
    80     12    23
    779    111   223
    4693   671   1341
    99     14    29
    852    122   244
    2181   312   624
    1085   155   311
    2026   290   579
    849    122   243
    993    143   284
    2330   333   666
    1643   235   470
    486    54    174
    128    12    46
    206    28    92
    194    20    68
    66     6     20
    53075  7582  15165
    7814   1117  2233
    5866   838   1677
    15406  2201  4402
    11789  1684  3369
    7705   1101  2202
    39203  5601  11201
    24608  3516  7031
    33484  3721  250
    10213  1135  250
    7754   862   250
    46026  5114  250
"""
