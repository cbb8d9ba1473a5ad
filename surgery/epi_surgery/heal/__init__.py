"""Healing: what a cut model's remaining weights can make up for, with the uncut model as the teacher."""
