// What the checks of all clients share: the endpoint, plain requests, and a restart of the server in between.
import assert from "node:assert/strict";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { parse, print, separateOperations } from "graphql";

export const [url, wishes] = [process.argv[2], JSON.parse(process.argv[3])];
export const headers = { Authorization: `Bearer ${process.env.IGOB_TOKEN}`, "Accept-Language": "en" };
export const documents = Object.fromEntries(
  Object.entries(separateOperations(parse(readFileSync("documents.graphql", "utf8")))).map(([name, one]) => [name, print(one)]),
);

/** One request that passes by every cache. */
export async function plain(query, variables = {}) {
  const answer = await fetch(url, {
    method: "POST",
    headers: { ...headers, "content-type": "application/json" },
    body: JSON.stringify({ query, variables }),
  });
  const { data, errors } = await answer.json();
  assert.equal(errors, undefined, JSON.stringify(errors));
  return data;
}

const lines = createInterface({ input: process.stdin });

/** The test restarts the server on the same port. */
export async function restart() {
  console.log("restart");
  await once(lines, "line");
}

export function done() {
  lines.close();
  console.log("done");
}

/** The ids of a hospital's agendas, in their order. */
export async function everyAgenda() {
  const query = `query ($hospital: String!) { agendas(hospital: $hospital, first: 100) { nodes { id } } }`;
  const { agendas } = await plain(query, { hospital: wishes.hospital });
  return agendas.nodes.map(({ id }) => id);
}

/**
 * Books, meets a taken slot, reschedules, cancels and confirms; after each step compares the client's cache with the log.
 *
 * `client` has `change(name, input)`, which returns a payload; `agenda(id)`, `appointment(id)` and `dependants()`, which are
 * answered from the cache alone; and `know(id)`, which brings an agenda into the cache.
 */
export async function checkCache(client) {
  const [first, second] = wishes.agendas;
  const key = () => crypto.randomUUID();
  const agree = async (...appointments) => {
    for (const id of [first, second]) assert.deepEqual(await client.agenda(id), (await plain(documents.Agenda, { id })).agenda.freeSlots);
    for (const id of appointments) assert.equal(await client.appointment(id), (await plain(documents.Appointment, { id })).appointment.state);
  };
  for (const id of [first, second]) await client.know(id);
  await agree();

  const input = { idempotencyKey: key(), agenda: first, slot: 1, patient: wishes.patient };
  const booked = await client.change("bookAppointment", input);
  assert.deepEqual(booked.errors, []);
  await agree(booked.appointment.id);
  await restart();
  const again = await client.change("bookAppointment", input);
  assert.equal(again.appointment.id, booked.appointment.id);
  await agree(booked.appointment.id);

  const taken = await client.change("bookAppointment", { ...input, idempotencyKey: key(), patient: wishes.other });
  assert.equal(taken.errors[0].code, "slot_taken");
  assert.ok(taken.errors[0].alternatives.length > 0);

  const moved = await client.change("rescheduleAppointment", { idempotencyKey: key(), appointment: booked.appointment.id, agenda: second, slot: 2 });
  assert.deepEqual(moved.errors, []);
  await agree(booked.appointment.id, moved.appointment.id);
  const cancelled = await client.change("cancelAppointment", { idempotencyKey: key(), appointment: moved.appointment.id });
  assert.deepEqual(cancelled.errors, []);
  await agree(booked.appointment.id, moved.appointment.id);

  const [one, other] = wishes.guardians;
  for (const guardian of [one, other]) await client.know(`${guardian}/${wishes.child}`);
  assert.deepEqual([await client.confirmed(one), await client.confirmed(other)], [false, false]);
  const confirmed = await client.change("confirmDependant", { idempotencyKey: key(), guardian: one, dependant: wishes.child, relation: "CARE" });
  assert.deepEqual(confirmed.errors, []);
  assert.deepEqual([await client.confirmed(one), await client.confirmed(other)], [true, false]);
}
