"""A whole experiment from one file: every arm as often as needed, in an order that drift cannot pass off as an effect."""
