"""A config with every experiment, which the cases change."""

PLAN = {"eps": 0.1, "attacks": ["pgd-xent"], "steps": 1, "step_size": 0.1}
ROW = {
    "dataset": "digits",
    "network": "convnet-small",
    "method": "madry",
    "settings": {"eps": 0.1},
    "training": {"epochs": 1, "learning_rate": 0.001},
}
GROUP = {
    "dataset": "digits",
    "network": "convnet-small",
    "models": ["digits-convnet-small-madry", "digits-convnet-small-standard"],
    "transfer": {"eps": 0.1, "steps": 1, "step_size": 0.1},
}
GOOD = {
    "suite": "hostile",
    "experiments": {
        "figure1": {"training": {"steps": 1}},
        "figure2": {
            "datasets": {
                "digits": {
                    "fractions": [0.1],
                    "seeds": 1,
                    "losses": {"cross_entropy": {}, "geometric_svm": {}},
                }
            }
        },
        "table1": {
            "rows": [ROW, ROW | {"method": "standard", "settings": {}}],
            "attacks": {"digits": PLAN},
        },
        "blackbox": {"groups": [GROUP]},
        "table2": {"methods": {"levelset": {"method": "levelset"}}},
        "table2-time": {"methods": {"poisson": {"method": "poisson"}}},
        "figure3": {},
        "hard_inputs": {"methods": {"poisson": {"method": "poisson"}}},
        "universality": {"shapes": {"cube": [8]}},
    },
}
