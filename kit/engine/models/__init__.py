"""Build networks with pretrained weights and their preprocessing.

Reads: model config, weights files.
Writes: ``Classifier``, checkpoints.

preprocessing.py       size, mean, std, interpolation and crop of a model
small_cnn.py           kit's own small networks
timm_models.py         timm networks
torchvision_models.py  torchvision networks, and translating their weights to and from timm
pretrained.py          load weights into everything but the head
pooling.py             replace the global pooling
heads.py               find, replace and extend heads
tabular.py             layers of a head that read metadata, or predict it in training
freezing.py            which stages train in which epoch
cpu_convolutions.py    faster and safer convolutions on a CPU
build.py               model config -> ``Classifier`` (normalization + network)
checkpoints.py         save and load weights and resume states
"""
