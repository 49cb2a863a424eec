"""Colours that stay apart for colour-blind readers."""

# Petroff, "Accessible Color Sequences for Data Visualization", arXiv:2107.02270, the ten that scikit-learn uses too
CLASS_COLORS = (
    "#3f90da",
    "#ffa90e",
    "#bd1f01",
    "#94a4a2",
    "#832db6",
    "#a96b59",
    "#e76300",
    "#b9ac70",
    "#717581",
    "#92dadd",
)
TRAINING, VALIDATION = CLASS_COLORS[0], CLASS_COLORS[6]
CORRECT, WRONG = CLASS_COLORS[0], CLASS_COLORS[2]
BLOCK_COLORS = (CLASS_COLORS[0], CLASS_COLORS[1])
