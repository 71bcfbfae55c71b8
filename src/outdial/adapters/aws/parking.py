"""Parked payloads in an S3 bucket."""

from outdial.adapters.aws.addresses import BucketAddress
from outdial.adapters.aws.client import AwsClient, Refused
from outdial.ports.parking import check_key


class S3Parking:
    """One object a key, under the address' prefix. Usable from one event loop."""

    def __init__(self, address: BucketAddress) -> None:
        """The bucket is in the environment's region."""
        self._address = address
        self._client = AwsClient("s3", "parking bucket", region=None)

    async def put(self, key: str, data: bytes) -> None:
        """See the port."""
        await self._client.ask("put_object", **self._object(key), Body=data)

    async def get(self, key: str) -> bytes | None:
        """See the port."""
        try:
            answer = await self._client.ask("get_object", **self._object(key))
        except Refused as error:
            if error.code == "NoSuchKey":
                return None
            raise
        data: bytes = answer["Body"]
        return data

    async def delete(self, key: str) -> None:
        """See the port."""
        await self._client.ask("delete_object", **self._object(key))

    async def close(self) -> None:
        """Release connections."""
        await self._client.close()

    def _object(self, key: str) -> dict[str, str]:
        return {"Bucket": self._address.bucket, "Key": self._address.key(check_key(key))}
