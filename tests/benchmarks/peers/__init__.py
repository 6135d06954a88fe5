"""Other libraries at their defaults, on the same images and network as kit.

peers.py           start a peer in a process of its own and read what it measured
fastai_peer.py     fastai
lightning_peer.py  Lightning
"""
