"use strict";
(() => {
  const at = (id) => document.getElementById(id);
  const player = at("player");
  const panels = [...document.querySelectorAll(".panel")];
  const start = (panel) => Number(panel.dataset.start);
  const end = (panel) => Number(panel.dataset.end);
  let now = 0, time = 0, running = false, before = null;

  function show(index) {
    now = Math.max(0, Math.min(index, panels.length - 1));
    const panel = panels[now], picture = panel.querySelector("img");
    at("shown").src = picture.src;
    at("shown").alt = picture.alt;
    const said = [...panel.querySelectorAll(".speech")].map((line) => line.textContent);
    at("said").textContent = said.length ? said.join("\n") : panel.querySelector(".caption").textContent;
    at("where").textContent = "shot " + panel.querySelector(".shot").textContent + " · " + (now + 1) + " / " + panels.length;
  }
  function go(index) {
    show(index);
    time = start(panels[now]);
    at("time").value = time;
  }
  function run(wanted) {
    running = wanted;
    before = null;
    at("play").textContent = running ? "Pause" : "Play";
    if (running) requestAnimationFrame(tick);
  }
  function tick(stamp) {
    if (!running) return;
    time += before === null ? 0 : (stamp - before) / 1000;
    before = stamp;
    while (time >= end(panels[now]) && now < panels.length - 1) show(now + 1);
    at("time").value = time;
    if (time >= end(panels[now])) run(false); else requestAnimationFrame(tick);
  }
  function toggle() {
    if (!running && time >= end(panels[panels.length - 1])) go(0);
    run(!running);
  }
  function open(index, playing) {
    if (!player.open) player.showModal();
    go(index);
    run(playing);
    at("play").focus();
  }
  const plays = (event) => event.key === " " && event.target !== at("close");
  at("open").addEventListener("click", () => open(0, true));
  panels.forEach((panel, index) => panel.querySelector(".picture").addEventListener("click", () => open(index, false)));
  at("back").addEventListener("click", () => go(now - 1));
  at("next").addEventListener("click", () => go(now + 1));
  at("play").addEventListener("click", toggle);
  at("close").addEventListener("click", () => player.close());
  player.addEventListener("close", () => run(false));
  player.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowUp: -1, ArrowRight: 1, ArrowDown: 1 }[event.key];
    if (step) go(now + step); else if (plays(event)) toggle(); else return;
    event.preventDefault();
  });
  player.addEventListener("keyup", (event) => { if (plays(event)) event.preventDefault(); });
})();
