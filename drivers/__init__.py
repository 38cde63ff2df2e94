"""How terminals and lines attach: thin I/O shells round the codecs of `protocols`."""
