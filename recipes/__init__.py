"""How the models in `saliently/shipped` were trained and measured: see README.md in this folder."""
