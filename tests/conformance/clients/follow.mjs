// Follows an agenda by clients that exist, each as its documentation says, and prints as JSON what each was told.
//
// Arguments: the endpoint, the agenda, a patient. IGOB_TOKEN in the environment is sent as a bearer's, if it is there.
import { Client, fetchExchange, subscriptionExchange } from "@urql/core";
import { createClient as createStreams } from "graphql-sse";
import { createClient as createSockets } from "graphql-ws";
import WebSocket from "ws";

const [url, agenda, patient] = process.argv.slice(2);
const socketUrl = url.replace("http", "ws");
const headers = process.env.IGOB_TOKEN ? { Authorization: `Bearer ${process.env.IGOB_TOKEN}` } : {};
const TOLD_TIMEOUT_MS = 20_000;

const FOLLOW = `subscription ($id: ID!, $after: Position) {
  agenda(id: $id, after: $after) { position previous agenda { id freeSlots } } }`;
const ASK = "query ($id: ID!) { agenda(id: $id) { id freeSlots } }";
const BOOK = `mutation ($input: BookAppointmentInput!) { bookAppointment(input: $input) {
  appointment { id } errors { code } } }`;
const CANCEL = `mutation ($input: CancelAppointmentInput!) { cancelAppointment(input: $input) { errors { code } } }`;

let keys = 0;

async function change(query, input) {
  const answer = await fetch(url, {
    method: "POST",
    headers: { ...headers, "content-type": "application/json" },
    body: JSON.stringify({ query, variables: { input: { idempotencyKey: `${process.pid}-${keys++}`, ...input } } }),
  });
  const [payload] = Object.values((await answer.json()).data);
  if (payload.errors.length) throw new Error(JSON.stringify(payload.errors));
  return payload;
}

const within = (promise) =>
  Promise.race([
    promise,
    new Promise((_, fail) => setTimeout(() => fail(new Error("nothing is told")), TOLD_TIMEOUT_MS).unref()),
  ]);

// What graphql-ws and graphql-sse have in common: results as an iterator, which `return` ends.
async function viaLibrary(client) {
  const results = client.iterate({ query: FOLLOW, variables: { id: agenda } });
  const told = async () => (await within(results.next())).value.data.agenda;
  const first = await told();
  const { appointment } = await change(BOOK, { agenda, slot: 1, patient });
  const second = await told();
  await change(CANCEL, { appointment: appointment.id });
  const third = await told();
  await results.return();
  const refused = await viaRefused(client);
  await client.dispose();
  return { told: [first, second, third], ...refused };
}

async function viaRefused(client) {
  const results = client.iterate({ query: FOLLOW, variables: { id: "h/2027-01-01/nobody" } });
  try {
    const { value } = await within(results.next());
    const { done } = await within(results.next());
    return { refused: value.errors[0].extensions.code, done };
  } catch (errors) {
    return { refused: errors[0].extensions.code, done: true }; // as a message of its own, by WebSockets
  }
}

async function viaUrql(client) {
  const told = [];
  let wake = () => {};
  const { unsubscribe } = client.subscription(FOLLOW, { id: agenda }).subscribe(({ data, error }) => {
    if (error) throw error;
    told.push(data.agenda);
    wake();
  });
  const until = async (count) => {
    while (told.length < count) await within(new Promise((done) => (wake = done)));
  };
  await until(1);
  const { appointment } = await change(BOOK, { agenda, slot: 1, patient });
  await until(2);
  await change(CANCEL, { appointment: appointment.id });
  await until(3);
  unsubscribe();
  const asked = await client.query(ASK, { id: agenda }).toPromise();
  if (asked.error) throw asked.error;
  const { error } = await new Promise((done) => {
    client.subscription(FOLLOW, { id: "h/2027-01-01/nobody" }).subscribe(done);
  });
  return {
    told,
    asked: asked.data.agenda.freeSlots,
    refused: error.graphQLErrors[0].extensions.code,
    done: true,
  };
}

const sockets = () => createSockets({ url: socketUrl, webSocketImpl: WebSocket, connectionParams: headers });

const urqlOverSockets = () => {
  const socket = sockets();
  const client = new Client({
    url,
    fetchOptions: { headers },
    preferGetMethod: false,
    exchanges: [
      fetchExchange,
      subscriptionExchange({
        forwardSubscription: (request) => ({
          subscribe: (sink) => ({ unsubscribe: socket.subscribe({ ...request, query: request.query ?? "" }, sink) }),
        }),
      }),
    ],
  });
  return viaUrql(client).finally(() => socket.dispose());
};

const urqlOverStreams = () =>
  viaUrql(
    new Client({
      url,
      fetchOptions: { headers },
      preferGetMethod: false,
      fetchSubscriptions: true,
      exchanges: [fetchExchange],
    }),
  );

const found = {};
for (const [name, follow] of Object.entries({
  "graphql-ws": () => viaLibrary(sockets()),
  "graphql-sse": () => viaLibrary(createStreams({ url, headers })),
  "@urql/core over graphql-ws": urqlOverSockets,
  "@urql/core over event streams": urqlOverStreams,
})) {
  found[name] = await follow();
}
console.log(JSON.stringify(found));
