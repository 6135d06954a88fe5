"""Measure other libraries at their defaults, on the same images and network as kit.

peers.py           run a peer in its own process and read its result
fastai_peer.py     fastai
lightning_peer.py  Lightning
"""
