// urql with its normalised cache, as docs/front-ends.md sets it up.
import assert from "node:assert/strict";
import { gql } from "@urql/core";
import { checkCache, documents, done, everyAgenda, headers, plain, restart, url, wishes } from "./common.mjs";
import { outcome } from "./refusals.mjs";
import { perform } from "./perform.mjs";
import { urqlClient } from "./urql-client.mjs";

const client = await urqlClient(url, headers);
const DEPENDANT = `query ($id: ID!) { dependant(id: $id) { id confirmed } }`;
const name = (field) => documents[field[0].toUpperCase() + field.slice(1)];

async function query(document, variables, requestPolicy = "cache-first") {
  const { data, error } = await client.query(gql(document), variables, { requestPolicy }).toPromise();
  if (error) throw error;
  return data;
}
const cached = (document, variables) => query(document, variables, "cache-only");

const variables = { hospital: wishes.hospital, count: 2 };
const joined = async (cursor) => (await query(documents.Agendas, { ...variables, cursor })).agendas;
let page = await joined();
await restart();
while (page.pageInfo.hasNextPage) page = await joined(page.pageInfo.endCursor);
const all = (await cached(documents.Agendas, { ...variables, cursor: page.edges.at(-1).cursor })).agendas;
const ids = new Set([...page.edges, ...(all?.edges ?? [])].map(({ node }) => node.id));
assert.deepEqual([...ids].sort(), (await everyAgenda()).sort());

await checkCache({
  change: async (field, input) => {
    const send = async (wish) => {
      const { data, error } = await client.mutation(gql(name(field)), { input: wish }).toPromise();
      if (error) throw error;
      return data[field];
    };
    return perform(send, input);
  },
  know: (id) => (id.split("/").length === 2 ? query(DEPENDANT, { id }) : query(documents.Agenda, { id })),
  agenda: async (id) => (await cached(documents.Agenda, { id })).agenda.freeSlots,
  appointment: async (id) => {
    await query(documents.Appointment, { id });
    return (await cached(documents.Appointment, { id })).appointment.state;
  },
  confirmed: async (guardian) => (await cached(DEPENDANT, { id: `${guardian}/${wishes.child}` })).dependant.confirmed,
});
const refused = await plain(documents.BookAppointment, {
  input: { idempotencyKey: crypto.randomUUID(), agenda: wishes.agendas[0], slot: 9, patient: wishes.patient },
});
assert.equal(typeof outcome(refused.bookAppointment), "object");
assert.ok((await query(documents.Viewer)).viewer.roles.includes("DEVELOPER"));
done();
