// Apollo Client, as docs/front-ends.md sets it up.
import assert from "node:assert/strict";
import { gql } from "@apollo/client";
import { bookOptimistically } from "./apollo-booking.mjs";
import { apolloClient } from "./apollo-client.mjs";
import { checkCache, documents, done, everyAgenda, headers, plain, restart, url, wishes } from "./common.mjs";

const client = await apolloClient(url, headers);
const DEPENDANT = `query ($id: ID!) { dependant(id: $id) { id confirmed } }`;
const name = (field) => documents[field[0].toUpperCase() + field.slice(1)];

async function query(document, variables, fetchPolicy = "cache-first") {
  const { data } = await client.query({ query: gql(document), variables, fetchPolicy });
  return data;
}
const cached = (document, variables) => client.readQuery({ query: gql(document), variables });

const list = client.watchQuery({ query: gql(documents.Agendas), variables: { hospital: wishes.hospital, count: 2 } });
const watching = list.subscribe(() => {});
await list.result?.();
let { agendas } = (await query(documents.Agendas, { hospital: wishes.hospital, count: 2 }));
await restart();
while (agendas.pageInfo.hasNextPage) {
  const { data } = await list.fetchMore({ variables: { cursor: agendas.pageInfo.endCursor } });
  agendas = data.agendas;
}
const joined = cached(documents.Agendas, { hospital: wishes.hospital, count: 2 }).agendas.edges.map(({ node }) => node.id);
assert.deepEqual(joined, await everyAgenda());
watching.unsubscribe();

const seen = [];
const [third] = wishes.agendas.slice(2);
await query(documents.Agenda, { id: third });
const following = client.watchQuery({ query: gql(documents.Agenda), variables: { id: third } });
const observing = following.subscribe(({ data }) => data?.agenda && seen.push(data.agenda.freeSlots));
const { agenda } = cached(documents.Agenda, { id: third });
const input = { idempotencyKey: crypto.randomUUID(), agenda: third, slot: 1, patient: wishes.other };
const { data } = await bookOptimistically(client, gql(documents.BookAppointment), input, agenda);
assert.deepEqual(data.bookAppointment.errors, []);
await new Promise((done) => setTimeout(done, 50));
observing.unsubscribe();
assert.deepEqual([...new Set(seen)], [agenda.freeSlots, agenda.freeSlots - 1]);
const refused = await bookOptimistically(client, gql(documents.BookAppointment), { ...input, idempotencyKey: crypto.randomUUID() }, { ...agenda, freeSlots: agenda.freeSlots - 1 });
assert.equal(refused.data.bookAppointment.appointment, null);
assert.equal(cached(documents.Agenda, { id: third }).agenda.freeSlots, agenda.freeSlots - 1);

await checkCache({
  change: async (field, input) => (await client.mutate({ mutation: gql(name(field)), variables: { input } })).data[field],
  know: (id) => (id.split("/").length === 2 ? query(DEPENDANT, { id }) : query(documents.Agenda, { id })),
  agenda: (id) => cached(documents.Agenda, { id }).agenda.freeSlots,
  appointment: async (id) => {
    await query(documents.Appointment, { id });
    return cached(documents.Appointment, { id }).appointment.state;
  },
  confirmed: (guardian) => cached(DEPENDANT, { id: `${guardian}/${wishes.child}` }).dependant.confirmed,
});
const node = await query(`query ($id: ID!) { node(id: $id) { id ... on Agenda { freeSlots } } }`, { id: third });
assert.equal(node.node.freeSlots, (await plain(documents.Agenda, { id: third })).agenda.freeSlots);
client.stop();
done();
