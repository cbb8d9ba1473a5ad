"""The names of all criteria, for the command line: here without torch, which takes seconds to import."""

# Need the model in PyTorch and calibration tokens.
GRADIENT = ("taylor", "taylor-token", "taylor-sequence", "taylor-squared", "gradact")
GATES = ("l0", "l0-groups")
FORWARD = ("wanda", "flap", "entropy")
RELEVANCE = ("attnlrp", "attnlrp-abs", "attnlrp-element", "attnlrp-output")
SLOW = ("ablation", "movement")
ON_TEXT = (*GRADIENT, *GATES, *FORWARD, *RELEVANCE, *SLOW)
# Need the weights only.
ON_WEIGHTS = ("l1", "l2", "random")
ALL = (*ON_TEXT, *ON_WEIGHTS)
