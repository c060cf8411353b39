// A client and a worker of the JavaScript SDK against the hub in argv[2]; prints what they saw.

"use strict";

const {
  EntityInstanceId,
  NoOpLogger,
  OrchestrationStatus,
  TaskEntity,
  TaskHubGrpcClient,
  TaskHubGrpcWorker,
  whenAll,
  whenAny,
} = require("@microsoft/durabletask-js");

const hostAddress = process.argv[2];
const logger = new NoOpLogger();

const double = async (_, number) => number * 2;

async function* child(context, number) {
  return yield context.callActivity(double, number);
}

async function* everything(context, count) {
  const doubled = [];
  for (let number = 0; number < count; number++) {
    doubled.push(context.callActivity(double, number));
  }
  const results = yield whenAll(doubled);
  const fromChild = yield context.callSubOrchestrator(child, 21);
  yield context.createTimer(0.05);
  const event = context.waitForExternalEvent("go");
  const late = context.createTimer(3600);
  const winner = yield whenAny([event, late]);
  const entity = new EntityInstanceId("counter", context.instanceId);
  context.entities.signalEntity(entity, "add", 4);
  const counted = yield context.entities.callEntity(entity, "add", 3);
  return { results, fromChild, raised: winner === event ? event.getResult() : "late", counted };
}

class Counter extends TaskEntity {
  add(amount) {
    this.state += amount;
    return this.state;
  }

  initializeState() {
    return 0;
  }
}

async function* countsDown(context, left) {
  yield context.callActivity(double, left);
  if (left > 0) {
    context.continueAsNew(left - 1, true);
    return;
  }
  return "lift-off";
}

async function* fails() {
  throw new TypeError("as it should");
}

async function main() {
  const worker = new TaskHubGrpcWorker({ hostAddress, logger });
  worker.addNamedOrchestrator("everything", everything);
  worker.addNamedOrchestrator("child", child);
  worker.addNamedOrchestrator("countsDown", countsDown);
  worker.addNamedOrchestrator("fails", fails);
  worker.addNamedActivity("double", double);
  worker.addNamedEntity("counter", () => new Counter());
  await worker.start();

  const client = new TaskHubGrpcClient({ hostAddress, logger });
  const outcome = async (id) => await client.waitForOrchestrationCompletion(id, true, 60);

  const id = await client.scheduleNewOrchestration("everything", 3);
  await client.waitForOrchestrationStart(id, false, 60);
  await client.raiseOrchestrationEvent(id, "go", { from: "node" });
  const first = await outcome(id);
  const second = await outcome(await client.scheduleNewOrchestration("countsDown", 2));
  const third = await outcome(await client.scheduleNewOrchestration("fails"));

  console.log(
    JSON.stringify({
      id,
      status: OrchestrationStatus[first.runtimeStatus],
      output: first.serializedOutput ? JSON.parse(first.serializedOutput) : null,
      failure: first.failureDetails ? first.failureDetails.message : null,
      second: JSON.parse(second.serializedOutput),
      third: third.failureDetails.message,
    }),
  );
  await worker.stop();
  await client.stop();
}

main().then(
  () => process.exit(0),
  (error) => {
    console.error(error);
    process.exit(1);
  },
);
