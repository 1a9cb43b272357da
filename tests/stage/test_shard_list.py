import pathlib

from stage import shard_list


def test_a_list_is_found_where_it_is_and_else_where_it_will_be(tmp_path):
    def found():
        return pathlib.Path(shard_list.find(tmp_path)).name

    assert found() == "shards.list"
    (tmp_path / shard_list.FORMER_NAME).touch()
    assert found() == "shards.parquet"
    (tmp_path / shard_list.NAME).touch()
    assert found() == "shards.list"
