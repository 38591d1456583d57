/**
 * The forms that try an operation. Each POST and PATCH gets a key of its own, which stays until another is asked for, so
 * that sending again is a retry. The token is read from its field for each request and kept nowhere else.
 *
 * Whatever comes from outside is written as text, never as HTML.
 */

/** What a form has sent with the key that it shows. */
type Sent = { key: string; body: string; firstAnswer: string | undefined; times: number };

const element = <Name extends keyof HTMLElementTagNameMap>(
  name: Name,
  text: string,
  ...classes: string[]
): HTMLElementTagNameMap[Name] => {
  const made = document.createElement(name);
  made.textContent = text;
  made.classList.add(...classes);
  return made;
};

/** Where the app is mounted: this file is served at `docs/reference.js` below it. */
const root = new URL("../", import.meta.url);

const tokenField = document.querySelector<HTMLInputElement>("#token");

const setUp = (form: HTMLFormElement): void => {
  const keyField = form.querySelector<HTMLInputElement>("[data-in=key]");
  const bodyField = form.querySelector<HTMLTextAreaElement>("[data-in=body]");
  const note = form.querySelector<HTMLElement>("[data-note]");
  const send = form.querySelector<HTMLButtonElement>("button[type=submit]");
  const answers = form.parentElement?.querySelector<HTMLElement>("[data-answers]");
  if (send === null || !answers) return;
  const usualNote = note?.textContent ?? "";
  let sent: Sent | undefined;

  const explain = (): void => {
    const again = sent !== undefined && sent.key === keyField?.value;
    send.textContent = again ? "Send again with the same key" : "Send";
    if (note === null) return;
    note.textContent =
      again && sent?.body !== (bodyField?.value ?? "")
        ? "This key was sent with another body. It belongs to that request: you will see 422, and nothing runs. For a new intent take a new key."
        : usualNote;
  };
  const renew = (): void => {
    if (keyField !== null) keyField.value = crypto.randomUUID();
    explain();
  };

  const run = async (): Promise<void> => {
    const key = keyField?.value ?? "";
    const body = bodyField?.value ?? "";
    if (keyField !== null && sent?.key !== key) {
      sent = { key, body, firstAnswer: undefined, times: 0 };
    }
    if (sent !== undefined) sent.times += 1;
    send.disabled = true;
    const startedAtMs = performance.now();
    try {
      const response = await fetch(urlOf(form), {
        method: form.dataset["method"] ?? "GET",
        headers: headersOf(form),
        credentials: "omit",
        cache: "no-store",
        ...(bodyField === null ? {} : { body }),
      });
      const text = await response.text();
      answers.prepend(answerOf(response, text, Math.round(performance.now() - startedAtMs), sent));
      if (sent !== undefined && response.headers.has("Idempotency-Expires"))
        sent.firstAnswer ??= text;
    } catch (error) {
      const lost = element("section", "", "answer");
      lost.append(
        element("h5", "No answer"),
        element(
          "p",
          `${String(error)}. Whether it ran is not known: send again with the same key.`,
        ),
      );
      answers.prepend(lost);
    } finally {
      send.disabled = false;
      explain();
    }
  };

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    void run();
  });
  form.addEventListener("input", explain);
  form.querySelector("[data-do=new-key]")?.addEventListener("click", renew);
  renew();
};

const urlOf = (form: HTMLFormElement): URL => {
  const path = (form.dataset["path"] ?? "").replaceAll(/\{(\w+)\}/g, (_, name: string) => {
    const field = form.querySelector<HTMLInputElement>(`[data-in=path][name="${name}"]`);
    return encodeURIComponent(field?.value ?? "");
  });
  const url = new URL(path.slice(1), root);
  for (const field of form.querySelectorAll<HTMLInputElement>("[data-in=query]")) {
    if (field.value !== "") url.searchParams.set(field.name, field.value);
  }
  return url;
};

const headersOf = (form: HTMLFormElement): Headers => {
  const headers = new Headers();
  const token = tokenField?.value.trim() ?? "";
  if (token !== "") headers.set("Authorization", `Bearer ${token}`);
  if (form.querySelector("[data-in=body]") !== null)
    headers.set("Content-Type", "application/json");
  const fields = form.querySelectorAll<HTMLInputElement>("[data-in=key], [data-in=header]");
  for (const { name, value } of fields) if (value !== "") headers.set(name, value);
  return headers;
};

/** What came back: status, headers and body, and what they mean for the key. */
const answerOf = (
  response: Response,
  text: string,
  tookMs: number,
  sent: Sent | undefined,
): HTMLElement => {
  const answer = element("section", "", "answer", response.ok ? "ok" : "problem");
  const nth = sent === undefined || sent.times === 1 ? "" : `, try ${sent.times} with this key`;
  answer.append(element("h5", `${response.status} ${response.statusText} in ${tookMs} ms${nth}`));
  if (sent?.firstAnswer !== undefined && response.headers.has("Idempotent-Replayed")) {
    answer.append(
      element(
        "p",
        sent.firstAnswer === text
          ? "A replay: byte for byte the first answer. Nothing ran again."
          : "A replay, but not of the answer shown first: please report this.",
      ),
    );
  }
  const headers = element("dl", "");
  for (const [name, value] of response.headers) {
    const speaksOfTheKey = /^(idempoten|retry-after|x-should-retry)/.test(name);
    headers.append(
      element("dt", name, ...(speaksOfTheKey ? ["key-header"] : [])),
      element("dd", value),
    );
  }
  const body = element("pre", "");
  body.append(element("code", text === "" ? "(no body)" : laidOut(text)));
  answer.append(headers, body);
  return answer;
};

/** JSON in lines, for reading; anything else as it came. */
const laidOut = (text: string): string => {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
};

for (const hidden of document.querySelectorAll<HTMLElement>(".token[hidden], .try[hidden]")) {
  hidden.hidden = false;
}
for (const shown of document.querySelectorAll("[data-scriptless]")) shown.remove();
for (const form of document.querySelectorAll<HTMLFormElement>("form[data-path]")) setUp(form);
