"""A whole study from Python: does a little supervised fine-tuning help the bundled model? Runs in half a minute."""

from tunelab import Evaluate, Format, Study, Train, run

study = Study(
    study="first-study",
    question="Does a little supervised fine-tuning help?",
    model="tiny",
    task="arithmetic",
    formats={"chat": Format(template="chat")},
    train={
        f"sft_{rows}": Train(
            method="sft",
            adaptation="full",
            loss="completion",
            lr=1e-4,
            epochs=1,
            batch_size=16,
            format="chat",
            rows=rows,
        )
        for rows in (80, 320)
    },
    evaluate={"chat": Evaluate(format="chat", rows=200)},
)

if __name__ == "__main__":
    for row in run(study)["comparisons"]:
        print(f"{row['cell']}: {row['difference']:+.3f} ({row['low']:.3f} … {row['high']:.3f}), {row['verdict']}")
