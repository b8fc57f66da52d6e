// What Anthropic's official client from npm makes of the server: one JSON object with what came of each use. Arguments: address, key, model.
import Anthropic from "@anthropic-ai/sdk";
import { report } from "./report.mjs";

const [address, key, model] = process.argv.slice(2);
const client = new Anthropic({ baseURL: address, apiKey: key, maxRetries: 0 });
const tools = [{ name: "look", input_schema: { type: "object" } }];
const pixel =
  "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";
const schema = {
  type: "object",
  properties: { word: { type: "string" } },
  required: ["word"],
  additionalProperties: false,
};
const words = (message) => message.content.filter((block) => block.type === "text").map((block) => block.text).join("");
const image = [
  {
    role: "user",
    content: [
      { type: "text", text: "What is it?" },
      { type: "image", source: { type: "base64", media_type: "image/png", data: pixel } },
    ],
  },
];

async function loop(streamed) {
  const messages = [{ role: "user", content: "Look." }];
  const seen = [];
  for (let round = 0; round < 3; round++) {
    const asked = { model, max_tokens: 900, messages, tools };
    const message = streamed
      ? await client.messages.stream(asked).finalMessage()
      : await client.messages.create(asked);
    messages.push({ role: "assistant", content: message.content });
    const calls = message.content.filter((block) => block.type === "tool_use");
    if (calls.length === 0) return { seen, text: words(message), stop: message.stop_reason };
    seen.push(calls.map((call) => JSON.stringify(call.input)));
    messages.push({
      role: "user",
      content: calls.map((call) => ({ type: "tool_result", tool_use_id: call.id, content: `found ${call.input.at}` })),
    });
  }
}

const uses = {
  loop: () => loop(false),
  streamed_loop: () => loop(true),
  async pieces() {
    const kinds = [];
    let text = "";
    const messages = [{ role: "user", content: "Say it." }];
    for await (const event of await client.messages.create({ model, max_tokens: 900, messages, stream: true })) {
      kinds.push(event.type);
      if (event.type === "content_block_delta" && event.delta.type === "text_delta") text += event.delta.text;
    }
    return { text, first: kinds[0], last: kinds.at(-1) };
  },
  async image() {
    return words(await client.messages.create({ model, max_tokens: 900, messages: image }));
  },
  async schema() {
    const asked = { model, max_tokens: 900, messages: image, output_config: { format: { type: "json_schema", schema } } };
    return JSON.parse(words(await client.messages.create(asked)));
  },
  async count() {
    return (await client.messages.countTokens({ model, messages: image })).input_tokens;
  },
  async models() {
    const names = [];
    for await (const each of client.models.list()) names.push(each.id);
    return names;
  },
};

await report(uses, model, (named, stream) => client.messages.create({ model: named, max_tokens: 9, messages: [{ role: "user", content: "Look." }], stream }));
