// Relay without React: the artifacts of its compiler, its store, and the query that it makes for the next page.
import assert from "node:assert/strict";
import { createOperationDescriptor, commitMutation, fetchQuery, getSingularSelector } from "relay-runtime";
import { checkCache, done, everyAgenda, headers, restart, url, wishes } from "./common.mjs";
import { relayEnvironment } from "./relay-environment.mjs";
import list from "./src/__generated__/agendas_list.graphql.js";
import listQuery from "./src/__generated__/agendasOfHospitalQuery.graphql.js";
import pageQuery from "./src/__generated__/agendasPageQuery.graphql.js";
import agendaQuery from "./src/__generated__/bookingAgendaQuery.graphql.js";
import appointmentQuery from "./src/__generated__/bookingAppointmentQuery.graphql.js";
import book from "./src/__generated__/bookingBookMutation.graphql.js";
import cancel from "./src/__generated__/bookingCancelMutation.graphql.js";
import confirm from "./src/__generated__/bookingConfirmMutation.graphql.js";
import dependantQuery from "./src/__generated__/bookingDependantQuery.graphql.js";
import reschedule from "./src/__generated__/bookingRescheduleMutation.graphql.js";

const environment = relayEnvironment(url, headers);
const kept = [];
const loaded = new Set();

async function load(query, variables) {
  const name = JSON.stringify([query.params.name, variables]);
  if (loaded.has(name)) return; // from then on the store has to be right by itself
  loaded.add(name);
  kept.push(environment.retain(createOperationDescriptor(query, variables)));
  await fetchQuery(environment, query, variables).toPromise();
}
const stored = (query, variables) => environment.lookup(createOperationDescriptor(query, variables).fragment).data;

const variables = { hospital: wishes.hospital };
await load(listQuery, variables);
const connection = () => environment.lookup(getSingularSelector(list, stored(listQuery, variables))).data.agendas;
await restart();
while (connection().pageInfo.hasNextPage) {
  await load(pageQuery, { ...variables, count: 2, cursor: connection().pageInfo.endCursor });
}
assert.deepEqual(connection().edges.map(({ node }) => node.id), await everyAgenda());

const mutations = { bookAppointment: book, cancelAppointment: cancel, rescheduleAppointment: reschedule, confirmDependant: confirm };
const isDependant = (id) => id.split("/").length === 2;
await checkCache({
  change: (field, input) =>
    new Promise((onCompleted, onError) => {
      const finished = (answer, errors) => (errors ? onError(new Error(JSON.stringify(errors))) : onCompleted(answer[field]));
      commitMutation(environment, { mutation: mutations[field], variables: { input }, onCompleted: finished, onError });
    }),
  know: (id) => load(isDependant(id) ? dependantQuery : agendaQuery, { id }),
  agenda: (id) => stored(agendaQuery, { id }).agenda.freeSlots,
  appointment: async (id) => {
    await load(appointmentQuery, { id });
    return stored(appointmentQuery, { id }).appointment.state;
  },
  confirmed: (guardian) => stored(dependantQuery, { id: `${guardian}/${wishes.child}` }).dependant.confirmed,
});
kept.forEach((one) => one.dispose());
done();
