// What the official client from npm makes of the server: one JSON object with what came of each use. Arguments: address, key, model.
import OpenAI from "openai";
import { report } from "./report.mjs";

const [address, key, model] = process.argv.slice(2);
const client = new OpenAI({ baseURL: `${address}/v1`, apiKey: key, maxRetries: 0 });
const look = { name: "look", parameters: { type: "object" } };
const tools = [{ type: "function", function: look }];
const pixel =
  "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";
const schema = {
  type: "object",
  properties: { word: { type: "string" } },
  required: ["word"],
  additionalProperties: false,
};
const answers = (calls) =>
  calls.map((call) => ({
    role: "tool",
    tool_call_id: call.id,
    content: `found ${JSON.parse(call.function.arguments).at}`,
  }));

async function loop(streamed) {
  const messages = [{ role: "user", content: "Look." }];
  const seen = [];
  for (let round = 0; round < 3; round++) {
    const asked = { model, messages, tools };
    const answer = streamed
      ? await client.chat.completions.stream(asked).finalChatCompletion()
      : await client.chat.completions.create(asked);
    const message = answer.choices[0].message;
    messages.push(message);
    const calls = message.tool_calls ?? [];
    if (calls.length === 0) return { seen, text: message.content };
    seen.push(calls.map((call) => call.function.arguments));
    messages.push(...answers(calls));
  }
}

const uses = {
  loop: () => loop(false),
  streamed_loop: () => loop(true),
  async pieces() {
    const stream = await client.chat.completions.create({
      model,
      messages: [{ role: "user", content: "Say it." }],
      stream: true,
      stream_options: { include_usage: true },
    });
    let text = "";
    let usage = null;
    for await (const piece of stream) {
      text += piece.choices[0]?.delta?.content ?? "";
      usage = piece.usage ?? usage;
    }
    return { text, prompt_tokens: usage.prompt_tokens };
  },
  async image_and_schema() {
    const answer = await client.chat.completions.parse({
      model,
      messages: [
        {
          role: "user",
          content: [
            { type: "text", text: "What is it?" },
            { type: "image_url", image_url: { url: `data:image/png;base64,${pixel}` } },
          ],
        },
      ],
      response_format: { type: "json_schema", json_schema: { name: "w", strict: true, schema } },
    });
    return JSON.parse(answer.choices[0].message.content);
  },
  async responses() {
    const whole = await client.responses.create({ model, input: "Look.", store: false });
    const stream = client.responses.stream({ model, input: "Look again.", store: false });
    const types = [];
    for await (const event of stream) types.push(event.type);
    const last = await stream.finalResponse();
    // Not every version of the client joins the texts of a streamed answer.
    const text = last.output.flatMap((item) => item.content ?? []).map((part) => part.text ?? "").join("");
    return { whole: whole.output_text, streamed: text, ends: types.at(-1) };
  },
  async responses_loop() {
    const tool = { type: "function", ...look, strict: false };
    const input = [{ role: "user", content: "Look." }];
    const first = await client.responses.create({ model, input, tools: [tool], store: false });
    const calls = first.output.filter((item) => item.type === "function_call");
    const results = calls.map((call) => ({
      type: "function_call_output",
      call_id: call.call_id,
      output: `found ${JSON.parse(call.arguments).at}`,
    }));
    const second = await client.responses.create({
      model,
      input: [...input, ...first.output, ...results],
      tools: [tool],
      store: false,
    });
    return { calls: calls.map((call) => call.arguments), text: second.output_text };
  },
  async models() {
    const names = [];
    for await (const each of client.models.list()) names.push(each.id);
    return names;
  },
};

await report(uses, model, (named, stream) => client.chat.completions.create({ model: named, messages: [{ role: "user", content: "Look." }], stream }));
