alter table series drop column usual;
