"""`hookrun -- program …`: any program, run as it always runs, with its models measured from inside.

The way of a run: `command` checks the options and becomes the program (`launch`); the program's Python reads
`inject/sitecustomize` before anything else, which calls `arming`; that waits for torch or llama_cpp to be imported
(`import_watch`) and lets their adapters in. The first model called opens the run (`recorder`); the program's end closes it
(`exits`), and should the program die without a word, a process of its own (`watcher`) closes what lies on disk.
"""
