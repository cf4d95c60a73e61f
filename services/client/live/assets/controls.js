// The controls: what they ask for is checked by the server, whose answer is shown.
"use strict";

const controls = (() => {
  function on(form, service) {
    const output = form.querySelector("output");
    let busy = false;
    const say = (text, alarm) => {
      output.className = alarm ? "alarm" : "";
      output.textContent = text;
    };
    const send = async (change) => {
      busy = true;
      try {
        const answer = await fetch("control", { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ service, ...change }) });
        const body = await answer.json();
        const field = body.error?.split(":")[0];
        for (const input of form.elements) if (input.name) input.setAttribute("aria-invalid", String(input.name === field));
        if (!answer.ok) return say(body.error, true);
        for (const input of form.elements) delete input.dataset.touched;
        const active = form.elements[document.activeElement.name];
        if (active && active.name in body) active.value = body[active.name];
        show(body);
        say("In force.", false);
      } catch {
        say("The client does not answer.", true);
      } finally {
        busy = false;
      }
    };
    form.addEventListener("input", (event) => (event.target.dataset.touched = "yes"));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const change = {};
      for (const input of form.elements) if (input.name && input.dataset.touched) change[input.name] = input.type === "number" ? numeric(input) : input.value;
      send(change);
    });
    for (const button of form.querySelectorAll("[data-times]")) {
      button.addEventListener("click", () => {
        const rate = Number(form.elements.rate.value) * Number(button.dataset.times);
        send({ rate: Math.round(rate * 1000) / 1000 });
      });
    }

    // show puts what is in force into the fields that nobody is filling in.
    function show(load) {
      for (const [name, value] of Object.entries(load)) {
        const input = form.elements[name];
        if (input && !input.dataset.touched && input !== document.activeElement && input.value !== String(value)) input.value = value;
      }
    }
    return (load) => busy || show(load);
  }

  // A field that holds no number is sent as it is: the server says what is wrong with it.
  const numeric = (input) => (input.value === "" || !Number.isFinite(Number(input.value)) ? input.value : Number(input.value));

  return { on };
})();
