import { eventTable } from './event-table.js';

/**
 * AWS (contract aws §4.1): each detail-type, with each intent and status. There is no truth to read: a message is added to what is
 * known. In `none` an agreement's message is parked until its licence is known. AWS suspends nothing, so our `suspended` (made for
 * this table) ends with whatever message comes next. The landing is done from `pending_fulfillment` on, in `scheduled` it is not:
 * a renewal that names its predecessor when it is served already is looked at, for a person to be told (ADR 0013).
 */
export const AWS_TABLE = eventTable(`
| event                                            | none                | scheduled                    | pending_fulfillment            | active                 | suspended                         | closing        | cancelled | voided |
| ------------------------------------------------ | ------------------- | ---------------------------- | ------------------------------ | ---------------------- | --------------------------------- | -------------- | --------- | ------ |
| License Updated                                  | pending_fulfillment | pending_fulfillment: started | active: needs_tenant activated | =                      | active: reinstated                | =              | =         | =      |
| License Deprovisioned                            | voided: voided      | cancelled: ended             | voided: voided                 | closing: ended         | closing: ended                    | =              | =         | =      |
| Purchase Agreement Created NEW                   | parked              | =                            | =                              | =                      | active: reinstated                | =              | =         | =      |
| Purchase Agreement Created NEW, manufacturer     | parked              | =                            | =                              | =                      | active: reinstated                | =              | =         | =      |
| Purchase Agreement Created RENEW                 | parked              | =                            | =                              | active: succession_due | active: reinstated succession_due | =              | =         | =      |
| Purchase Agreement Created REPLACE               | parked              | =                            | =                              | =                      | active: reinstated                | =              | =         | =      |
| Purchase Agreement Amended, later end            | parked              | scheduled                    | pending_fulfillment            | active                 | active: reinstated                | =              | =         | =      |
| Purchase Agreement Amended, no renewal           | parked              | scheduled                    | pending_fulfillment            | active                 | active: reinstated                | =              | =         | =      |
| Purchase Agreement Ended CANCELLED               | parked              | cancelled: ended             | voided: voided                 | closing: ended         | closing: ended                    | closing: ended | =         | =      |
| Purchase Agreement Ended CANCELLED, manufacturer | parked              | cancelled: ended             | voided: voided                 | closing: ended         | closing: ended                    | closing: ended | =         | =      |
| Purchase Agreement Ended EXPIRED                 | parked              | cancelled: ended             | voided: voided                 | closing: ended         | closing: ended                    | closing: ended | =         | =      |
| Purchase Agreement Ended TERMINATED              | parked              | cancelled: ended             | voided: voided                 | closing: ended         | closing: ended                    | closing: ended | =         | =      |
| Purchase Agreement Ended RENEWED                 | parked              | =                            | =                              | =                      | active: reinstated                | =              | =         | =      |
| Purchase Agreement Ended REPLACED                | parked              | =                            | =                              | =                      | active: reinstated                | =              | =         | =      |
| Purchase Agreement Ended SUPERSEDED              | parked              | =                            | =                              | =                      | active: reinstated                | =              | =         | =      |
| Purchase Agreement Ended ARCHIVED                | parked              | =                            | =                              | =                      | active: reinstated                | =              | =         | =      |
| Purchase Agreement Ended ROLLED_BACK             | parked              | =                            | =                              | =                      | active: reinstated                | =              | =         | =      |
| Purchase Agreement Ended with an unknown status  | parked              | =                            | =                              | =                      | active: reinstated                | =              | =         | =      |
| Purchase Agreement Ending                        | parked              | =                            | =                              | =                      | active: reinstated                | =              | =         | =      |
| Purchase Agreement Renewal Terms Finalized       | parked              | =                            | =                              | =                      | active: reinstated                | =              | =         | =      |
| Purchase Agreement Renewal Upcoming              | parked              | =                            | =                              | =                      | active: reinstated                | =              | =         | =      |
| Purchase Agreement Advisory Issued               | parked              | =                            | =                              | =                      | active: reinstated                | =              | =         | =      |
| Purchase Agreement Advisory Resolved             | parked              | =                            | =                              | =                      | active: reinstated                | =              | =         | =      |
| Agreement Cancellation Request Pending Approval  | parked              | =                            | =                              | =                      | active: reinstated                | =              | =         | =      |
| Agreement Cancellation Request Approved          | parked              | =                            | =                              | =                      | active: reinstated                | =              | =         | =      |
| Agreement Cancellation Request Rejected          | parked              | =                            | =                              | =                      | active: reinstated                | =              | =         | =      |
| Agreement Cancellation Request Cancelled         | parked              | =                            | =                              | =                      | active: reinstated                | =              | =         | =      |
| Agreement Cancellation Request Validation Failed | parked              | =                            | =                              | =                      | active: reinstated                | =              | =         | =      |
| Purchase Agreement Billing Adjustment Completed  | parked              | =                            | =                              | =                      | active: reinstated                | =              | =         | =      |
| Purchase Agreement Billing Adjustment Failed     | parked              | =                            | =                              | =                      | active: reinstated                | =              | =         | =      |
| Spend Threshold Reached                          | parked              | =                            | =                              | =                      | active: reinstated                | =              | =         | =      |
| Vet Succeeded                                    | parked              | =                            | =                              | =                      | active: reinstated                | =              | =         | =      |
| Vet Failed                                       | parked              | =                            | =                              | =                      | active: reinstated                | =              | =         | =      |
| an unknown detail-type                           | parked              | =                            | =                              | =                      | active: reinstated                | =              | =         | =      |
`);
