// Questions to the laboratory, and its answers as streams.

/** Sends JSON; the answer's JSON, or `{ error }`. */
export async function post(path, body, signal) {
  try {
    const answer = await fetch(path, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body), signal });
    return answer.status === 204 ? {} : await answer.json();
  } catch (error) {
    return { error: `the laboratory does not answer: ${error.message}` };
  }
}

/** Sends JSON and yields the events of the answer as { name, id, data }; throws what is wrong as `Refused`. */
export async function* events(path, body, signal) {
  const answer = await fetch(path, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body), signal });
  if (!answer.ok) throw new Refused((await answer.json()).error);
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    text += value;
    let end;
    while ((end = text.indexOf("\n\n")) >= 0) {
      const lines = text.slice(0, end).split("\n");
      text = text.slice(end + 2);
      const field = (name) => lines.filter((l) => l.startsWith(`${name}:`)).map((l) => l.slice(name.length + 1).trimStart()).join("\n");
      if (field("data")) yield { name: field("event"), id: field("id"), data: JSON.parse(field("data")) };
    }
  }
}

/** The laboratory's own message about what was asked. */
export class Refused extends Error {}

/** A line that is read aloud: beginnings, ends, copies. Counters stand elsewhere. */
export function say(text) {
  const line = document.getElementById("said");
  if (line.textContent !== text) line.textContent = text;
}

/** What is wrong with the connection, for every place. */
export function connectionLost(message) {
  document.getElementById("connection").textContent = message;
}
