"""The page: a photograph is dropped, and seen restored beside what it was.

Knows Gradio: components, where they stand, and what is shown when. What is computed is `service.py`'s, how the page is
served `serving.py`'s. Imported only where Gradio is installed.
"""

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from lit_pure.app.knobs import KNOBS, PageKnob, choices_of
from lit_pure.app.service import Closed, Opened, Result, Service
from lit_pure.images.labels import BICUBIC

CSS = Path(__file__).with_name("page.css")
TITLE = "lit_pure: restore a photograph"
WORDS = {"degradation": "Perceived", "caption": "Understood"}
"""What the words of a model are called here; others keep their own name."""
NO_WORDS, UNSURE = "<dt>Words</dt><dd>This model writes none.</dd>", "<h3>Dark where the model was unsure</h3>"
KEPT = (600, 3600)
"""How often old files are looked for, and how old they are when they go [s]."""


def theme() -> gr.themes.Base:
    """A theme without fonts from the network."""
    font, mono = ([gr.themes.Font(name) for name in names] for names in (("system-ui", "sans-serif"), ("monospace",)))
    soft = {f"block_info_text_color{scheme}": f"*neutral_{grey}" for scheme, grey in (("", 600), ("_dark", 300))}
    return gr.themes.Base(font=font, font_mono=mono).set(**soft)


def build(service: Service) -> gr.Blocks:
    """The page of a service; nothing is served yet."""
    first = next(iter(service.runs))
    opened = service.open(first)
    with gr.Blocks(title=TITLE, analytics_enabled=False, delete_cache=KEPT) as page:
        gr.Markdown(f"# Restore a photograph\n{_introduction(opened, service.max_pixels)}")
        with gr.Row(elem_id="layout"):
            with gr.Column(elem_id="intake"):
                upload = gr.File(label="Photograph (PNG, JPEG, WebP, TIFF)", elem_id="upload", height=150)
                button = gr.Button("Restore", variant="primary", elem_id="restore")
                status = gr.HTML(elem_id="status", padding=False)
            with gr.Column(elem_id="outcome"):
                gr.Markdown("### Left: the photograph, enlarged. Right: restored")
                slider = gr.ImageSlider(
                    type="filepath",
                    show_label=False,
                    elem_id="slider",
                    interactive=False,
                    max_height=640,
                    buttons=["fullscreen"],
                )
                download = gr.DownloadButton("Download the restored picture", visible=False, elem_id="download")
                words = gr.HTML(visible=False, elem_id="words", padding=False)
                maps, others = _gallery("maps"), _gallery("others")
            with gr.Column(elem_id="turn"):
                run = gr.Dropdown(list(service.runs), value=first, label="Run", info="Whose weights restore")
                knobs = [_component(knob, opened) for knob in KNOBS]
                beside = gr.CheckboxGroup(
                    opened.baselines,
                    value=[BICUBIC],
                    label="Methods of others beside it",
                    info="Networks take seconds to minutes each",
                    elem_id="baselines",
                )
        run.change(
            lambda label: _turn_to(service.open(label)),
            [run],
            [*knobs, beside],
            api_visibility="private",
            concurrency_id="restore",
        )

        def restore(*given: Any, progress: gr.Progress = gr.Progress()) -> list[Any]:  # noqa: B008
            return _restore(service, progress, *given)

        shown = [status, slider, download, words, maps, others]
        for event in (upload.upload, button.click):
            event(
                restore,
                [upload, run, beside, *knobs],
                shown,
                api_visibility="private",
                concurrency_limit=1,
                concurrency_id="restore",
                show_progress_on=[slider],
            )
    return page


def _restore(
    service: Service, progress: gr.Progress, upload: str | None, label: str, baselines: Sequence[str], *values: Any
) -> list[Any]:
    """What becomes of the components after status: the result, or nothing beside the reason why there is none."""
    if upload is None:
        return _refused("Drop a photograph first.")

    def report(what: str, done: int, whole: int) -> None:
        progress(done / whole if whole else 0.0, desc=what)

    try:
        own = service.open(label).knobs
        turned = {knob.key: value for knob, value in zip(KNOBS, values, strict=True) if knob.key in own}
        return _shown(service.restore(Path(upload), label, turned, baselines, report))
    except Closed:
        return _refused("The page is being closed.")
    except MemoryError:
        return _refused("There is not enough memory on this machine for so large a result.")
    except ValueError as error:  # BadImage and ConfigError, too
        return _refused(str(error).removeprefix("command line: "))


def _shown(result: Result) -> list[Any]:
    """The components of a result, in the order of `build`."""
    beside = [*((str(path), name) for name, path in result.beside.items()), (str(result.restored), "restored")]
    said = "".join(
        f"<dt>{escape(WORDS.get(name, name))}</dt><dd>{escape(text)}</dd>" for name, text in result.words.items()
    )
    maps = [(str(path), name) for name, path in result.maps.items()]
    return [
        f"<p role='status'>{escape(result.summary)}</p>",
        (str(result.before), str(result.restored)),
        gr.DownloadButton(value=str(result.restored), visible=True),
        gr.HTML(f"<dl>{said or NO_WORDS}</dl>{UNSURE if maps else ''}", visible=True),
        gr.Gallery(maps, visible=bool(maps)),
        gr.Gallery(beside, visible=bool(result.beside)),
    ]


def _refused(reason: str) -> list[Any]:
    """The components after a refusal: nothing of an earlier photograph is left."""
    nothing = [gr.Gallery([], visible=False)] * 2
    alert = f"<p role='alert'>{escape(reason)}</p>"
    return [alert, None, gr.DownloadButton(visible=False), gr.HTML("", visible=False), *nothing]


def _gallery(name: str) -> gr.Gallery:
    return gr.Gallery(
        show_label=False,
        visible=False,
        elem_id=name,
        interactive=False,
        object_fit="contain",
        columns=2,
        height="auto",
        buttons=["fullscreen", "download"],
    )


def _component(knob: PageKnob, opened: Opened) -> gr.components.Component:
    """The component of a knob; not visible where the run has no such knob."""
    value, words = opened.knobs.get(knob.key), choices_of(opened.settings, knob.key)
    about: dict[str, Any] = {
        "label": knob.label,
        "info": knob.info,
        "visible": value is not None,
        "elem_id": knob.key.replace(".", "-"),
        "value": value,
    }
    if knob.high is not None:
        start = knob.low if value is None else value
        return gr.Slider(knob.low or 0, knob.high, step=knob.step, **about | {"value": start})
    if knob.low is not None:
        return gr.Number(precision=0, minimum=knob.low, **about)
    return gr.Radio(words, **about)


def _turn_to(opened: Opened) -> list[Any]:
    """The knobs and baselines of another run."""
    knobs = []
    for knob in KNOBS:
        value, words = opened.knobs.get(knob.key), choices_of(opened.settings, knob.key)
        update: dict[str, Any] = {"visible": value is not None}
        update |= {"choices": list(words)} if words else {}
        update |= {} if value is None else {"value": value}
        knobs.append(gr.update(**update))
    return [*knobs, gr.update(choices=opened.baselines, value=[BICUBIC])]


def _introduction(opened: Opened, most: int) -> str:
    """What happens here, in two sentences."""
    return (
        f"Drop a photograph of up to {most:,} pixels, and see it {opened.restorer.scale} times as large, drawn anew "
        "by a model that first says how it was damaged and what it shows, where it can. Everything stays on the "
        "machine that runs this page, in a temporary folder that is removed with it."
    )
