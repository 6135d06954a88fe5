"""Several members' predictions (or weights) -> one, scored on rows that the weights were not fitted on.

Reads: OOF, held-out and test predictions of runs; CSVs of other tools.
Writes: ``runs/<competition>/<name>/``: predictions and ``blend.json``, as of an experiment.

    members.py         what can be blended, and whether members fit together
    blend_data.py      members beside the truth, and how they are combined
    likelihood.py      each member's likelihood of the truth, from which log losses follow
    methods/           the blend methods: one per file
    evaluate_blend.py  nested score, members, and gain over the best member
    blended.py         a written blend
    blend.py           blend predictions
    soup.py            average weights instead: one model per fold
    blend_runs.py      blend by any method
"""
