"""What can go wrong with a campaign, in one sentence each."""

import click


class CampaignError(click.ClickException):
    """The campaign cannot start or go on; the sentence says what, where and what to do."""
