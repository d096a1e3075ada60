// Written by make docs: the types of error of each mutation.

export const ERRORS = {
  askNotice: ["NotBefore"],
  bookAppointment: ["NotReleasedYet", "SlotTaken", "VisitConflict"],
  callNext: ["NotBefore"],
  callTurn: ["NotBefore", "NotNext"],
  checkIn: ["HasATurn", "NotBefore"],
  holdSlot: ["HoldLimitReached", "NotReleasedYet", "SlotTaken", "VisitConflict"],
  markAbsent: ["NotBefore"],
  recall: ["NotBefore"],
  requeueAbsent: ["HasATurn", "NotBefore"],
  rescheduleAppointment: ["NotReleasedYet", "SlotTaken", "VisitConflict"],
  startService: ["HasATurn"],
  takeTurn: ["HasATurn", "NotBefore"],
  transferTurn: ["HasATurn", "NotBefore"],
};
