"""Blend predictions (or model weights), and score the blend on rows that its weights were not fitted on.

Reads: OOF, held-out and test predictions of runs; CSVs of other tools.
Writes: ``runs/<competition>/<name>/``: predictions and ``blend.json``, as of an experiment.

    members.py         experiments, blends and CSVs as members, and whether they are compatible
    blend_data.py      members with targets, and their combination
    likelihood.py      each member's likelihood of the truth, for the log loss of mixtures
    methods/           the blend methods: one per file
    evaluate_blend.py  nested score, members, and gain over the best member
    blended.py         a written blend
    blend.py           blend predictions
    soup.py            average model weights: one model per fold
    blend_runs.py      blend by any method
    new_images.py      predict new images with an experiment or a blend
"""
