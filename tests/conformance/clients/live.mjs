// Prints the free slots of an agenda whenever they change.
import { documents, headers, url, wishes } from "./common.mjs";
import { followAgenda } from "./follow-agenda.mjs";

let before;
for await (const { freeSlots } of followAgenda(url, headers, documents.FollowAgenda, wishes.agendas[0], 200)) {
  if (freeSlots !== before) console.log(freeSlots);
  before = freeSlots;
}
