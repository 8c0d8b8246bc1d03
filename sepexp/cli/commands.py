"""The words that may stand first on the command line; any other one belongs to a training."""

COMMANDS = {
    "evaluate": "score a run again",
    "separate": "take a song apart with a trained run",
    "models": "list the models, their sizes and what each was checked against",
    "report": "tables, verdicts and pages from runs",
    "data": "prepare or inspect songs",
}
