"""Many runs against each other: arms, contrasts, redistribution, compensation, thresholds and the research questions."""
