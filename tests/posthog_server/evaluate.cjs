// What posthog-node says of one flag for the people on standard input; arguments: host and key of the flag.
const { PostHog } = require('posthog-node')

const [host, flag] = process.argv.slice(2)
let text = ''
process.stdin.on('data', (piece) => (text += piece))
process.stdin.on('end', async () => {
  const personalApiKey = process.env.POSTHOG_PERSONAL_API_KEY
  const client = new PostHog('phc_public', { host, personalApiKey, featureFlagsPollingInterval: 3_600_000 })
  await client.reloadFeatureFlags()
  const answers = []
  for (const { id, properties } of JSON.parse(text)) {
    const options = { personProperties: properties, onlyEvaluateLocally: true, sendFeatureFlagEvents: false }
    const answer = await client.getFeatureFlag(flag, id, options)
    answers.push(answer === undefined ? null : answer)
  }
  console.log(JSON.stringify(answers))
  await client.shutdown()
})
