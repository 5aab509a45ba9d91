// @pinata/sdk, the older of Pinata's SDKs (REST v1). Its address is a constant: we are the proxy through which it goes.

import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { before, test } from 'node:test'

import { noise } from './content.mjs'
import { gateway, newKey, upload } from './network.mjs'
import { cidOfDirectory, cidOfFile } from './oracle.mjs'

// It sends plain HTTP with the whole URL in the first line then, and no CONNECT.
process.env.https_proxy = gateway
const PinataSDK = createRequire(import.meta.url)('@pinata/sdk')

let pinata
let key
before(async () => {
  key = await newKey('pinata v1')
  pinata = new PinataSDK({ pinataJWTKey: key })
})

const old = 'unixfs-v0-2015'

test('the key is good, as token and as two headers, and another is not', async () => {
  assert.deepEqual(await pinata.testAuthentication(), { authenticated: true })
  const [id, secret] = key.split('.')
  assert.deepEqual(await new PinataSDK(id, secret).testAuthentication(), { authenticated: true })
  const error = await new PinataSDK(id, 'wrong').testAuthentication().then(() => null, (error) => error)
  assert.equal(typeof error.reason, 'string')
})

test('files under both versions of CIDs', async () => {
  const content = noise(600_000, 801)
  const options = { pinataMetadata: { name: 'old.bin', keyvalues: { a: 'b', n: 3 } } }
  const made = await pinata.pinFileToIPFS(Readable.from([content]), options)
  assert.equal(made.IpfsHash, await cidOfFile(content, old))
  assert.ok(made.PinSize >= content.length)
  assert.ok(!Number.isNaN(Date.parse(made.Timestamp)))
  assert.equal(made.isDuplicate ?? false, false)
  const again = await pinata.pinFileToIPFS(Readable.from([content]), options)
  assert.deepEqual([again.IpfsHash, again.isDuplicate], [made.IpfsHash, true])
  const modern = await pinata.pinFileToIPFS(Readable.from([content]), { ...options, pinataOptions: { cidVersion: 1 } })
  assert.match(modern.IpfsHash, /^baf/)
})

test('a directory from the disk', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'pinata-'))
  await writeFile(join(folder, 'a.txt'), 'a')
  await writeFile(join(folder, 'b.txt'), 'b')
  const { IpfsHash } = await pinata.pinFromFS(folder, { pinataMetadata: { name: 'from disk' } })
  await rm(folder, { recursive: true })
  const files = ['a', 'b'].map((name) => ({ path: `${name}.txt`, content: Buffer.from(name) }))
  assert.equal(IpfsHash, await cidOfDirectory(files, old))
})

test('JSON, bare and with options', async () => {
  const expected = await cidOfFile(Buffer.from('{"bare":1}'), old)
  assert.equal((await pinata.pinJSONToIPFS({ bare: 1 })).IpfsHash, expected)
  const named = await pinata.pinJSONToIPFS({ bare: 1 }, { pinataMetadata: { name: 'named.json' } })
  assert.equal(named.IpfsHash, expected)
})

test('pins are listed, relabelled and removed', async () => {
  const { IpfsHash } = await pinata.pinJSONToIPFS({ to: 'list' }, { pinataMetadata: { name: 'list me', keyvalues: { keep: '1', drop: '1' } } })
  const rows = async (filters) => (await pinata.pinList({ status: 'pinned', ...filters })).rows
  const [row] = await rows({ hashContains: IpfsHash })
  assert.equal(row.ipfs_pin_hash, IpfsHash)
  assert.equal(row.date_unpinned, null)
  assert.deepEqual(row.metadata, { name: 'list me', keyvalues: { keep: '1', drop: '1' } })
  assert.equal(await pinata.hashMetadata(IpfsHash, { name: 'renamed', keyvalues: { drop: null, add: '2' } }), 'OK')
  const [changed] = await rows({ metadata: { name: 'renamed', keyvalues: { add: { value: '2', op: 'eq' } } } })
  assert.deepEqual(changed.metadata, { name: 'renamed', keyvalues: { keep: '1', add: '2' } })
  assert.deepEqual(await rows({ metadata: { keyvalues: { add: { value: '2', op: 'ne' } }, name: 'renamed' } }), [])
  const total = await pinata.userPinnedDataTotal()
  assert.ok(total.pin_count >= 1 && total.pin_size_total > 0)
  assert.equal(await pinata.unpin(IpfsHash), 'OK')
  assert.deepEqual(await rows({ hashContains: IpfsHash }), [])
})

test('pins are counted off page by page', async () => {
  for (let at = 0; at < 12; at++) await pinata.pinJSONToIPFS({ at }, { pinataMetadata: { name: `page ${at}`, keyvalues: { pages: 'yes' } } })
  const filters = { status: 'pinned', metadata: { keyvalues: { pages: { value: 'yes', op: 'eq' } } } }
  const first = (await pinata.pinList({ ...filters, pageLimit: 10 })).rows
  const second = (await pinata.pinList({ ...filters, pageLimit: 10, pageOffset: 10 })).rows
  assert.deepEqual([first.length, second.length], [10, 2])
  assert.equal(new Set([...first, ...second].map((row) => row.id)).size, 12)
})

test('a hash is pinned', async () => {
  const { cid } = await upload(await newKey('who stored it for pinata v1'), noise(2000, 802))
  const job = await pinata.pinByHash(cid, { pinataMetadata: { name: 'by hash' } })
  assert.equal(job.ipfsHash, cid)
  let found = []
  for (let left = 100; left > 0 && found.length === 0; left--) {
    found = (await pinata.pinList({ status: 'pinned', hashContains: cid })).rows
    if (found.length === 0) await new Promise((resolve) => setTimeout(resolve, 100))
  }
  assert.equal(found[0].metadata.name, 'by hash')
  assert.ok(Array.isArray((await pinata.pinJobs({ sort: 'ASC' })).rows))
})
