"""Arguments and options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

ModelOption = Annotated[str, typer.Option("--model", "-m", help="Shipped (default, bilstm), a folder, or a hub name.")]
TargetOption = Annotated[str | None, typer.Option("--target", "-t", help="Label to explain; else the predicted one.")]
AgainstOption = Annotated[str | None, typer.Option(help="Another label, 'rest', 'mean' or 'next': the difference.")]
ScaleOption = Annotated[
    str | None,
    typer.Option("--of", help="logit (default), probability, log-probability (default for language models), output."),
]
AtOption = Annotated[
    str | None, typer.Option(help="Which place: a word, its number, the number of a mask, tokens as 2:5; an answer.")
]
EachOption = Annotated[bool, typer.Option("--each", help="Explain each output: tokens of a response, tags, masks.")]
FieldsOption = Annotated[
    bool, typer.Option("--fields", help='Each text is JSON: {"prompt": ..., "response": ...}, or other fields by name.')
]
BlankOption = Annotated[
    str | None, typer.Option("--blank", "-b", help="In a word's place: mask, zero, pad, mean, delete.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, one object a line, instead of a picture.")]
SaveOption = Annotated[Path | None, typer.Option("--save", "-s", help="Also write .html, .json, .jsonl, .png or .svg.")]
FileOption = Annotated[Path | None, typer.Option("--file", "-f", help="Read texts, one a line; - is standard input.")]
PairOption = Annotated[bool, typer.Option("--pair", help="Premise and hypothesis: two texts, or lines with a tab.")]
TruncateOption = Annotated[bool, typer.Option("--truncate", help="Cut texts that the model can't take whole; says so.")]
WindowsOption = Annotated[bool, typer.Option("--windows", help="Read texts that are too long in windows; says so.")]
SecondsOption = Annotated[
    float | None,
    typer.Option(help="For methods that sample: seconds a text, on the average; then stop with what there is."),
]
UnitsOption = Annotated[str, typer.Option(help="What gets a score: word, sentence, paragraph or field.")]
BudgetOption = Annotated[int, typer.Option(min=1, help="Most tokens in a batch; less saves memory.")]
PlanOption = Annotated[bool, typer.Option("--plan", help="Say what it would cost, and stop before it is spent.")]
DeviceOption = Annotated[str, typer.Option(help="cpu, cuda, cuda:1, ..., or auto: over all there are.")]
DtypeOption = Annotated[str, typer.Option(help="float32, float64, bfloat16 or float16.")]

DataArgument = Annotated[
    Path,
    typer.Argument(metavar="DATA", help="Texts, one a line, a label behind a tab if known; or .jsonl; - is stdin."),
]
TextsOrSavedArgument = Annotated[
    Path,
    typer.Argument(metavar="DATA", help="Texts as for audit; or, with --saved, what explain --save wrote."),
]
SavedOption = Annotated[bool, typer.Option("--saved", help="DATA holds explanations (.json or .jsonl), not texts.")]
ModelArgument = Annotated[
    str, typer.Argument(metavar="MODEL", help="Shipped (default, bilstm), a folder, or a hub name.")
]
MethodOption = Annotated[str, typer.Option("--method", help="A recipe; see: saliently methods.")]
MethodsOption = Annotated[
    list[str] | None, typer.Option("--method", help="A recipe; give it several times. See: saliently methods.")
]
SeedOption = Annotated[int, typer.Option(min=0, help="Of all chance.")]
ReportJsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]
ReportSaveOption = Annotated[Path | None, typer.Option("--save", "-s", help="Also write .html or .json.")]
