/** What the console can do only in a browser: copy a text, and show times in the reader's own zone. */

for (const button of document.querySelectorAll<HTMLButtonElement>("[data-copy]")) {
  button.hidden = false;
  const name = button.textContent;
  button.addEventListener("click", () => {
    const copied = navigator.clipboard.writeText(button.dataset["copy"] ?? "");
    void copied.then(
      () => say(button, "Copied", name),
      () => say(button, "Not copied", name),
    );
  });
}

const say = (button: HTMLButtonElement, told: string, name: string | null): void => {
  button.textContent = told;
  setTimeout(() => {
    button.textContent = name;
  }, 1_500);
};

const ZONE = "latchkey-console-zone";
const zoneButton = document.querySelector<HTMLButtonElement>("[data-zone]");
const zoneName = document.querySelector("[data-zone-name]");

const two = (number: number): string => String(number).padStart(2, "0");

const localText = (date: Date): string =>
  `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())} ` +
  `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;

const show = (zone: "local" | "utc"): void => {
  for (const time of document.querySelectorAll<HTMLTimeElement>("[data-time]")) {
    const date = new Date(time.dateTime);
    time.textContent =
      zone === "local" ? localText(date) : date.toISOString().slice(0, 19).replace("T", " ");
  }
  if (zoneName !== null) {
    zoneName.textContent =
      zone === "local" ? Intl.DateTimeFormat().resolvedOptions().timeZone : "UTC";
  }
  if (zoneButton !== null) {
    zoneButton.textContent = zone === "local" ? "Show UTC" : "Show local times";
  }
};

if (zoneButton !== null) {
  zoneButton.hidden = false;
  let zone: "local" | "utc" = localStorage.getItem(ZONE) === "local" ? "local" : "utc";
  if (zone === "local") show(zone);
  zoneButton.addEventListener("click", () => {
    zone = zone === "local" ? "utc" : "local";
    localStorage.setItem(ZONE, zone);
    show(zone);
  });
}
