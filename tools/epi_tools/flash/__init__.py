"""`epi flash`: the firmware onto a board, so that the board always has a whole one.

`build` compiles, `slots` says what the board has and changes it, `flasher` does the whole walk with its way back,
`uf2`, `littlefs` and `bootsel` make and place the first image of a bare board.
"""
