// What became of each use of a client, and of a refusal of each kind, as one JSON object.
export async function report(uses, model, ask) {
  const found = {};
  for (const [name, use] of Object.entries(uses)) {
    try {
      found[name] = await use();
    } catch (error) {
      found[name] = { error: String(error?.stack ?? error) };
    }
  }
  found.errors = {};
  for (const status of [400, 401, 403, 404, 429, 500, 529]) {
    for (const stream of [false, true]) {
      try {
        await ask(`${model}-${status}`, stream);
        found.errors[status] = "none";
      } catch (error) {
        found.errors[status] = [error.constructor.name, error.status];
      }
    }
  }
  console.log(JSON.stringify(found));
}
